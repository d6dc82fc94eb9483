-- Who may see and write what. The app role sees the one tenant named in the transaction's setting; an unset setting matches
-- nothing. The system role (leases, reaper, policies) sees all tenants.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['accounts', 'limits', 'windows', 'holds', 'entries', 'policies', 'keys', 'revisions', 'runs',
                              'events', 'calls', 'attempts', 'feedback'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY system ON %I TO toolorchestra_system USING (true)', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO toolorchestra_app '
                   'USING (tenant = current_setting(''toolorchestra.tenant'', true))', name);
  END LOOP;
END $$;

-- A tenant cannot write its own limits: only those of its keys and runs.
CREATE POLICY below_tenant ON limits AS RESTRICTIVE FOR INSERT TO toolorchestra_app WITH CHECK (account NOT LIKE 't:%');
CREATE POLICY below_tenant ON accounts AS RESTRICTIVE FOR INSERT TO toolorchestra_app WITH CHECK (rank > 0);

GRANT SELECT, INSERT ON limits, entries, feedback, revisions TO toolorchestra_app;
GRANT SELECT, INSERT, UPDATE ON accounts, windows, holds, runs, calls, attempts, keys TO toolorchestra_app;
GRANT UPDATE ON feedback TO toolorchestra_app;
GRANT SELECT, INSERT, DELETE ON events TO toolorchestra_app;
GRANT SELECT ON policies TO toolorchestra_app;
GRANT SELECT, INSERT, UPDATE, DELETE
  ON accounts, limits, windows, holds, policies, keys, revisions, runs, events, calls, attempts, feedback
  TO toolorchestra_system;
GRANT SELECT, INSERT ON entries TO toolorchestra_system;
