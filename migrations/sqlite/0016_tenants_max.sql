-- Nothing to do: here only the host makes tenants, and it knows the limit. The number belongs to what the other database came to know.
SELECT 1;
