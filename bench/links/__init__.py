"""The model of a link: what it is like (`shape`), and what it does to packets (`link`), on any clock."""
