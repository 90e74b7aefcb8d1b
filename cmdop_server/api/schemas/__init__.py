"""Shapes of requests and answers, one file per noun, and how rows become answers. No rules live here."""
