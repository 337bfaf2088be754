"""What ``slimcls fit`` thinks with: it looks at data, plans, tries candidates and answers."""
