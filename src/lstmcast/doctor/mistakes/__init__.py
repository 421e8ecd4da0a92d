"""The mistakes that are known, and those that are made by rewriting the right formulas."""
