"""Sessions and what else runs on machines: who, when, why it ended; and the tickets that open a stream."""
