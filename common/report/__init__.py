"""Ledger of published cells, tables, figures and the page that shows them."""
