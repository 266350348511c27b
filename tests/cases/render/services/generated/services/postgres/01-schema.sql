-- Made before the data comes: its types are taken as they are.
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, fee numeric(8, 2));
