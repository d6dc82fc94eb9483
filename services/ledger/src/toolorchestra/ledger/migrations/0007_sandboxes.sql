-- What each living sandbox worker observed of its isolation. It is the platform's, not a tenant's: only the system role may look.
CREATE TABLE sandboxes (
  worker text PRIMARY KEY,
  rung text,
  message text NOT NULL,
  layers jsonb NOT NULL,
  reach jsonb NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL
);

ALTER TABLE sandboxes ENABLE ROW LEVEL SECURITY;
CREATE POLICY system ON sandboxes TO toolorchestra_system USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON sandboxes TO toolorchestra_system;
