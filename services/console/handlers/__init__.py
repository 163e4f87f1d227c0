"""Who is signed in, and what each page shows."""
