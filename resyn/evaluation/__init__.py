"""How good resynthesised speech is: metrics, tables, figures and a page to look at and hear."""
