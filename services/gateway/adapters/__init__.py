"""Model servers, the spool, and where routing tables come from."""
