package diagnose

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
)

// agent are the reports of the guest agent, oldest first.
type agent []agentproto.Report

// maxAgent bounds the agent's reports that are read from a log.
const maxAgent = 64

// agentLines reads the agent's last reports from a console log.
func agentLines(log []byte) []agentproto.Report {
	var out []agentproto.Report
	prefix := []byte(agentproto.Prefix)
	for {
		i := bytes.Index(log, prefix)
		if i < 0 {
			return out
		}
		line := log[i:min(len(log), i+len(prefix)+agentproto.MaxLine+64)]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line = line[:n]
		}
		if r, err := agentproto.Parse(line); err == nil {
			if len(out) == maxAgent {
				out = out[1:]
			}
			out = append(out, r)
		}
		log = log[i+len(prefix):]
	}
}

// evidence is the last report of the agent, nil if there is none.
func (a agent) evidence() []result.Evidence {
	n := len(a)
	if n == 0 {
		return nil
	}
	b, err := a[n-1].Line()
	if err != nil {
		return nil
	}
	return []result.Evidence{{What: "the last report of the guest agent", Lines: []string{string(b)}, Offset: -1, Source: sourceAgent}}
}
