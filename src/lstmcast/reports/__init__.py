"""Reports: plots and tables; the only importers of matplotlib and of rich's tables."""
