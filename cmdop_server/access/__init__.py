"""Who may do what. Pure: this package knows no tables, callers hand it facts (D-7 … D-10, D-13)."""
