-- standing --
-- Whether a login may take the services' roles; no row where there is no such login.
SELECT pg_has_role(rolname, 'toolorchestra_app', 'SET') AND pg_has_role(rolname, 'toolorchestra_system', 'SET') AS admitted
FROM pg_roles WHERE rolname = %(login)s
