"""A campaign on one page: the record is read once into plain data, which figures, tables and sentences are made of."""
