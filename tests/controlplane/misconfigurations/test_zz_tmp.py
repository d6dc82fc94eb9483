from tests.controlplane.misconfigurations.test_misconfigurations import database, WayToDatabase
import psycopg, os
def test_it(database):
    print(database, os.path.exists(database.way))
    with psycopg.connect(database.url) as c: print(c.execute("select 1").fetchall())
