"""All designs of one operation and what each of them costs."""
