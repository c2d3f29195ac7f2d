"""All designs of one operation, with what each costs."""
