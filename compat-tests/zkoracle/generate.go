package zkoracle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// maxSessions is how many sessions are alive at once; a session may be detached
// for maxDetached steps, so that it never comes to its end by itself.
const (
	maxSessions = 4
	maxDetached = 15
)

// generator draws commands. They are a function of the random source and of what
// it knows of the sessions.
type generator struct {
	*rand.Rand
	made     int              // sessions so far
	sessions map[string]*life // the live ones
	numbered []string         // sequential znodes that were made lately
	writes   int              // named zxids
	calm     int              // commands since a connection was closed, which a server may be slow to see
	profile
}

// profile is what a run is about: how its servers are configured, and what is drawn.
type profile struct {
	ttl     bool // extendedTypesEnabled
	quota   bool // quotas are set
	enforce bool // and enforced
	acls    int  // percent of creates with an ACL that is not the open one
	watches int  // percent of the operations that only watch
}

// config is what the servers' zoo.cfg have. Nothing is reaped: when that happens is up
// to each server.
func (p profile) config() []string {
	return []string{
		superConfig,
		fmt.Sprintf("extendedTypesEnabled=%t", p.ttl),
		fmt.Sprintf("enforceQuota=%t", p.enforce),
		"znode.container.checkIntervalMs=86400000",
	}
}

// life is what the generator knows of a live session.
type life struct {
	conn     string // the connection it is attached to; empty if none
	detached int    // steps without one
}

func newGenerator(seed uint64) *generator {
	return &generator{
		Rand:     rand.New(rand.NewPCG(seed, 0)),
		sessions: make(map[string]*life),
		profile: profile{
			ttl:     seed%2 == 0,
			quota:   seed%3 == 0,
			enforce: seed%6 == 3,
			acls:    []int{25, 60, 10, 40}[seed%4],
			watches: []int{0, 0, 15, 30, 0}[seed%5],
		},
	}
}

// chance is true with probability percent/100.
func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

// next draws a command.
func (g *generator) next() string {
	var attached []string
	for _, name := range slices.Sorted(maps.Keys(g.sessions)) {
		l := g.sessions[name]
		if l.conn != "" {
			attached = append(attached, l.conn)
			continue
		}
		if l.detached++; l.detached > maxDetached {
			return g.reattach(name)
		}
	}
	if len(attached) == 0 || g.chance(3) {
		return g.connection()
	}
	if g.calm > 3 && g.chance(2) {
		return "4lw mntr" // the numbers of znodes, ephemerals, watches and sessions
	}
	conn := pick(g, attached)
	switch n := g.IntN(100); {
	case n < 4:
		return g.connection()
	case n < 18 && !g.enforce: // ZooKeeper looks at a quota before it has done what is ahead
		if g.chance(40) {
			ops := make([]string, 2+g.IntN(6))
			for i := range ops {
				for ops[i] = g.op(); strings.HasPrefix(ops[i], "setACL"); ops[i] = g.op() {
					// ZooKeeper looks at the ACL from before a setACL that is still on its way.
				}
			}
			return conn + " mixed " + strings.Join(ops, " | ")
		}
		return conn + " pipeline " + strings.Join(g.pipeline(), " | ")
	case n < 22:
		return conn + " " + g.auth()
	case n < 24:
		return conn + " " + g.rarity()
	default:
		return conn + " " + g.op()
	}
}

// connection draws a command that begins, ends or moves a session.
func (g *generator) connection() string {
	names := slices.Sorted(maps.Keys(g.sessions))
	if len(names) == 0 || len(names) < maxSessions && g.chance(40) {
		g.made++
		return fmt.Sprintf("s%d connect timeout=60000", g.made)
	}
	name := pick(g, names)
	conn := g.sessions[name].conn
	if conn == "" {
		return g.reattach(name)
	}
	switch n := g.IntN(100); {
	case n < 35:
		return conn + " close"
	case n < 60:
		return conn + " drop"
	default:
		return g.reattach(name)
	}
}

// reattach moves a session to a connection of the same or of another name.
func (g *generator) reattach(name string) string {
	conn := pick(g, []string{name, name + "b"})
	how := ""
	switch n := g.IntN(100); {
	case n < 5:
		if old := g.sessions[name].conn; old != "" {
			conn = old // see allow.go: another's would be closed by ZooKeeper
		}
		how = " passwd=" + pick(g, []string{"wrong", "zero", "short", "long", "empty", "null"})
	case n < 10:
		how = " zxid=future"
	case n < 60:
		how = " zxid=last"
	}
	if g.chance(20) {
		how += " short"
	}
	return conn + " reattach " + name + " timeout=60000" + how
}

// refusedAsItIs says whether Triglot refuses an operation without looking at the znodes:
// the zxid of that reply is the one that the connection was last shown.
func (g *generator) refusedAsItIs(op string) bool {
	signs := []string{"flags=", "ttl=0", "ttl=-1", "ttl=1099511627776", "getData", "exists", "sync", "op 99", "deleteContainer", "; multi", "multi multi"}
	if !g.ttl {
		signs = append(signs, "createTTL")
	}
	return op == "multi" || slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(op, sign) })
}

// pipeline draws operations to be sent at once. A write that no read ahead of it could
// see may be done before that read is answered, which then has a later zxid than
// ZooKeeper's, and so has what comes behind it. So either all operations are on one
// path, or the writes come first; and what only shows a zxid is not among them.
// Mixed pipelines, of which no zxids are compared, have nearly any.
func (g *generator) pipeline() (ops []string) {
	if g.chance(50) {
		path := pick(g, paths)
		for range 2 + g.IntN(4) {
			ops = append(ops, pick(g, []string{"create " + path, "create2 " + path + g.value(), "delete " + path + g.version(),
				"setData " + path + g.value() + g.version(), "exists " + path, "getData " + path, "exists " + path + " watch",
				"getData " + path + " watch", "getChildren2 " + path + " watch"}))
		}
		return ops
	}
	for range 1 + g.IntN(4) {
		op := pick(g, []func() string{g.write, g.write, g.multi})()
		if strings.HasPrefix(op, "setACL") || g.refusedAsItIs(op) {
			op = "multi check /a"
		}
		ops = append(ops, op)
	}
	for range g.IntN(3) {
		ops = append(ops, g.read())
	}
	return ops
}

// told lets the generator know what came of a command on the reference.
func (g *generator) told(s *side, line string, lines []string) {
	words := strings.Fields(line)
	conn, verb := words[0], words[1]
	session := strings.TrimSuffix(conn, "b")
	switch {
	case verb == "connect" && s.conns[conn] != nil:
		g.sessions[conn] = &life{conn: conn}
	case verb == "close" && answer(lines, "ok ") != "":
		delete(g.sessions, session)
	case verb == "reattach" && answer(lines, "refused") != "" && !strings.Contains(line, "passwd="):
		delete(g.sessions, session) // it has ended, whatever the reason
	case verb == "reattach" && s.conns[conn] != nil && s.conns[conn].ready:
		g.sessions[session].conn = conn
		g.sessions[session].detached = 0
	}
	for _, l := range g.sessions {
		if c := s.conns[l.conn]; c == nil || !c.ready {
			l.conn = ""
		}
	}
	if made := answer(lines, "/"); strings.HasPrefix(verb, "create") && strings.Contains(line, " seq") && made != "" {
		path, _, _ := strings.Cut(made, " ")
		if g.numbered = append(g.numbered, path); len(g.numbered) > 6 {
			g.numbered = g.numbered[1:]
		}
	}
	g.writes = s.clock.count
	g.calm++
	if verb == "close" || verb == "drop" || verb == "reattach" || conn == "restart" {
		g.calm = 0
	}
}

// answer is the first line that begins so; events may come ahead of it.
func answer(lines []string, prefix string) string {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}
