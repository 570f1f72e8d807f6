"""All that is known of one API dialect, for the gateway and for the record: one package each, and the table of them."""
