-- Which percentages of which windows were reached, so that each is told once, however many processes look.
CREATE TABLE alerts (
  tenant text NOT NULL,
  unit text NOT NULL,
  kind text NOT NULL,
  start timestamptz NOT NULL,
  percent integer NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant, unit, kind, start, percent)
);

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
CREATE POLICY system ON alerts TO toolorchestra_system USING (true);
CREATE POLICY tenant ON alerts TO toolorchestra_app USING (tenant = current_setting('toolorchestra.tenant', true));
GRANT SELECT ON alerts TO toolorchestra_app;
GRANT SELECT, INSERT, DELETE ON alerts TO toolorchestra_system;
