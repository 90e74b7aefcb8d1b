"""One router per noun: parse, call one service or query, shape the answer."""
