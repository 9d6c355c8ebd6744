-- Nothing to do: here tasks wait by tenant since 0008. This number belongs to the change by which the other database came to do the same.
SELECT 1;
