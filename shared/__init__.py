"""What two services need: contracts, the bus, the tables, and the parts every process is made of."""
