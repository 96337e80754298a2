package znode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/core"
)

// ZooKeeper's configuration is what /zookeeper/config shows once an ensemble was
// reconfigured: a line for each server, and the revision that wrote them last as the
// version. It is no key, so that its row holds it. Until then the row has nothing, and
// each server shows its own zoo.cfg.

// MaxServers is the longest configuration in bytes: ten thousand lines are no ensemble.
const MaxServers = 1 << 20

// configVersion is the version of the data: always this one, as ZooKeeper has it
// (ZooKeeper 3.9 PrepRequestProcessor, reconfig).
const configVersion = -1

// configuration is the data of the znode, as ZooKeeper writes it (QuorumMaj.toString).
func (n *node) configuration() string {
	return n.servers + "version=" + strconv.FormatInt(int64(n.mzxid), 16)
}

// SetServers replaces what the configuration says, of one who is ids to ACLs. It fails with
// SessionExpired, SessionMoved and NoAuth; with BadVersion if the configuration is not the
// one that revision c.From wrote; and with InvalidArgument on what is none. Without servers
// it only checks.
func (t *Tree) SetServers(c *core.SetEnsemble, ids core.Identities) (core.Stat, error) {
	if err := t.sessions.CheckSession(c.Session); err != nil {
		return core.Stat{}, err
	}
	n, err := t.must(configPath)
	if err != nil {
		return core.Stat{}, err
	}
	switch err := t.allowed(n.acl, ids, core.PermWrite); {
	case err != nil:
		return core.Stat{}, err
	case n.mzxid != c.From:
		return core.Stat{}, core.BadVersion
	case c.Servers == "":
		return n.stat(nil), nil
	case len(c.Servers) > MaxServers || !strings.HasSuffix(c.Servers, "\n"):
		return core.Stat{}, core.InvalidArgument
	}
	if err := t.setServers(&n, c.Servers); err != nil {
		return core.Stat{}, err
	}
	return n.stat(nil), nil
}

// TellMembers takes in that a member was removed, or that it votes now, if the configuration
// has a line for it.
func (t *Tree) TellMembers(of *core.Member, removed bool) error {
	n, err := t.must(configPath)
	if err != nil || n.servers == "" {
		return err
	}
	var text strings.Builder
	for line := range strings.Lines(n.servers) {
		switch {
		case !isServer(line, of):
			text.WriteString(line)
		case !removed:
			text.WriteString(strings.Replace(line, ":observer", ":participant", 1))
		}
	}
	if text.String() == n.servers || text.Len() == 0 {
		return nil
	}
	return t.setServers(&n, text.String())
}

func (t *Tree) setServers(n *node, servers string) error {
	parent, err := t.must(systemPath)
	if err != nil {
		return err
	}
	n.servers, n.mzxid, n.mtime, n.base = servers, t.rev, t.now, configVersion
	t.set(configPath, n)
	t.step(core.ZnodeDataChanged, configPath, n.acl, parent.acl)
	return nil
}

// isServer reports whether a line is that of a member: under the number that is its name,
// or, if it has not started and has none, with the address of its peer URL.
func isServer(line string, m *core.Member) bool {
	id, rest, ok := strings.Cut(strings.TrimPrefix(line, "server."), "=")
	if m.Name != "" || !ok {
		return ok && id == m.Name
	}
	return slices.ContainsFunc(m.PeerURLs, func(url string) bool {
		_, address, ok := strings.Cut(url, "://")
		return ok && strings.HasPrefix(rest, address+":")
	})
}
