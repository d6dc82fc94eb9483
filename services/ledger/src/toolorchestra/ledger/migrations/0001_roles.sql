-- Two group roles beside the owner. They belong to the whole server, not to one database, so another database's migration may
-- create them at the same moment.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['toolorchestra_app', 'toolorchestra_system'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
      END;
    END IF;
    -- Another login than the migrating one needs the same: GRANT toolorchestra_app, toolorchestra_system TO <login>.
    IF NOT pg_has_role(current_user, name, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', name);
    END IF;
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA toolorchestra TO toolorchestra_app, toolorchestra_system;
GRANT SELECT ON migrations TO toolorchestra_app, toolorchestra_system;
