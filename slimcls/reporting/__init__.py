"""From finished runs to a report: what compares with what, tables, pages."""
