-- How long the initcalls of a run took, in seconds of guest time, where initcall_debug told
-- it: those of a millisecond or longer.
CREATE TABLE run_initcall (
  run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, took REAL NOT NULL,
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

-- The last runs of a cell, whatever their kernels.
CREATE INDEX run_cell_started ON run (cell, started);
