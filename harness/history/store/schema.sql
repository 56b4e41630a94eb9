-- The history's tables. Times are nanoseconds since 1970, durations nanoseconds.
-- What a kernel, a cell, a host, a failure and a finding is stands once; a run refers to
-- them. The tallies count runs by kernel, cell and host, so that a comparison or a page
-- reads some thousand rows, however many runs there are.

CREATE TABLE kernel (
  id INTEGER PRIMARY KEY, release TEXT NOT NULL, build_id TEXT NOT NULL, sha256 TEXT NOT NULL, fault TEXT NOT NULL,
  origin TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  UNIQUE (release, build_id, sha256, fault)
) STRICT;

CREATE TABLE cell (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, variant TEXT NOT NULL,
  scenario TEXT NOT NULL, arch TEXT NOT NULL, entropy TEXT NOT NULL, initramfs TEXT NOT NULL,
  UNIQUE (name, variant)
) STRICT;

CREATE TABLE host (
  id INTEGER PRIMARY KEY, class TEXT NOT NULL, accel TEXT NOT NULL, qemu TEXT NOT NULL,
  UNIQUE (class, accel, qemu)
) STRICT;

CREATE TABLE failure (
  id INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE, title TEXT NOT NULL, cause TEXT NOT NULL
) STRICT;

CREATE TABLE finding (
  id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, severity TEXT NOT NULL
) STRICT;

CREATE TABLE run (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  kernel INTEGER NOT NULL REFERENCES kernel, cell INTEGER NOT NULL REFERENCES cell, host INTEGER NOT NULL REFERENCES host,
  failure INTEGER REFERENCES failure, known INTEGER NOT NULL,
  started INTEGER NOT NULL, verdict INTEGER NOT NULL,
  outcome TEXT NOT NULL, unclean INTEGER NOT NULL, stage TEXT NOT NULL, dir TEXT NOT NULL
) STRICT;
CREATE INDEX run_started ON run (started);
CREATE INDEX run_cell ON run (cell, kernel, started);
CREATE INDEX run_kernel ON run (kernel, started);
CREATE INDEX run_failure ON run (failure, started) WHERE failure IS NOT NULL;

CREATE TABLE run_finding (
  run INTEGER NOT NULL REFERENCES run, finding INTEGER NOT NULL REFERENCES finding, known INTEGER NOT NULL,
  PRIMARY KEY (run, finding)
) STRICT, WITHOUT ROWID;

-- When the guest reached a stage, in seconds of its own time.
CREATE TABLE run_stage (
  run INTEGER NOT NULL REFERENCES run, stage TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (run, stage)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally (
  kernel INTEGER NOT NULL, cell INTEGER NOT NULL, host INTEGER NOT NULL,
  runs INTEGER NOT NULL, failed INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (kernel, cell, host)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally_failure (
  kernel INTEGER NOT NULL, cell INTEGER NOT NULL, host INTEGER NOT NULL, failure INTEGER NOT NULL,
  runs INTEGER NOT NULL, known INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (kernel, cell, host, failure)
) STRICT, WITHOUT ROWID;
CREATE INDEX tally_failure_of ON tally_failure (failure, cell);

CREATE TABLE tally_finding (
  kernel INTEGER NOT NULL, cell INTEGER NOT NULL, host INTEGER NOT NULL, finding INTEGER NOT NULL,
  runs INTEGER NOT NULL, known INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (kernel, cell, host, finding)
) STRICT, WITHOUT ROWID;
CREATE INDEX tally_finding_of ON tally_finding (finding, cell);
