-- The walk over a day's started calls finds all it asks for in the index.
DROP INDEX reservation_placed;
CREATE INDEX reservation_placed ON reservation (number, reserved, placed) WHERE placed = 1;
