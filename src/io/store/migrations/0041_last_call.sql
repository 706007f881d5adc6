-- The last call that a phone had with a user.
CREATE INDEX call_endpoint ON call (endpoint_kind, endpoint_name, opened);
