-- What a sound that Meta keeps must be: SHA-256 in hexadecimal, as its webhook said.
ALTER TABLE voicemail ADD COLUMN sha256 TEXT;
