package ensemble

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/triglot/triglot/compat-tests/server"
)

// choosePorts draws the member's ports, or has those that it had before if the cluster is
// kept.
func (m *Member) choosePorts() error {
	ports := make([]int, 5)
	path := filepath.Join(m.dir, "ports.json")
	text, err := os.ReadFile(path)
	switch {
	case m.cluster.Kept && err == nil:
		err = json.Unmarshal(text, &ports)
		if err == nil && len(ports) != 5 {
			err = errors.New("want five ports")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	case m.cluster.Kept && !errors.Is(err, os.ErrNotExist):
		return err
	default:
		for i := range ports {
			if ports[i], err = server.FreePort(); err != nil {
				return err
			}
		}
	}
	m.etcdPort, m.zkPort, m.peerPort, m.electionPort, m.proxyPort = ports[0], ports[1], ports[2], ports[3], ports[4]
	if !m.cluster.Kept {
		return nil
	}
	if text, err = json.Marshal(ports); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
