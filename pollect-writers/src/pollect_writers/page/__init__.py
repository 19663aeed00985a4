"""The page in the browser: what runs, what it reads, what is wrong."""
