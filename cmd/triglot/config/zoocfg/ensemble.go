package zoocfg

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func isHierarchy(key string) bool {
	return strings.HasPrefix(key, "group") || strings.HasPrefix(key, "weight")
}

// readDynamic reads the file that dynamicConfigFile names.
func (c *Config) readDynamic() ([]Property, error) {
	list, err := c.readFile(c.raw.dynamic)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		switch {
		case p.Key == "version":
			return nil, errors.New("dynamic file shouldn't have version inside")
		case !strings.HasPrefix(p.Key, "server.") && !isHierarchy(p.Key):
			return nil, fmt.Errorf("Unrecognised parameter: %s", p.Key) //nolint:staticcheck // ZooKeeper's words
		}
	}
	return list, nil
}

// takeEnsemble reads who the servers are and which of them this one is, as
// QuorumPeerConfig.setupQuorumPeerConfig does.
func (c *Config) takeEnsemble(list []Property) error {
	for _, p := range list {
		id, ok := strings.CutPrefix(p.Key, "server.")
		if !ok {
			continue
		}
		s, err := parseServer(p.Key, id, p.Value)
		if err != nil {
			return err
		}
		c.Ensemble.Servers = append(c.Ensemble.Servers, s)
	}
	if c.raw.oracle == "" { // ZooKeeper does not look at groups then
		if err := c.Ensemble.checkHierarchy(list); err != nil {
			return err
		}
	}
	if err := c.Ensemble.check(); err != nil {
		return err
	}
	if err := c.readID(); err != nil {
		return err
	}
	if err := c.takeClientAddress(); err != nil {
		return err
	}
	if !c.Ensemble.Distributed() {
		c.noteEnsemble()
		return nil
	}
	switch e := &c.Ensemble; {
	case e.initLimit == 0:
		return errors.New("initLimit is not set")
	case e.syncLimit == 0:
		return errors.New("syncLimit is not set")
	case e.ID < 0:
		return errors.New("myid file is missing")
	}
	c.noteServers()
	c.Ensemble.Unsupported = c.unsupported(list)
	return nil
}

// unsupported is the first key that an ensemble here cannot have.
func (c *Config) unsupported(list []Property) string {
	for _, p := range list {
		if isHierarchy(p.Key) {
			return p.Key
		}
	}
	switch {
	case c.raw.oracle != "":
		return "oraclePath"
	case c.raw.quorumSASL.enabled:
		return "quorum.auth.enableSasl"
	}
	return ""
}

// Self is the line of the server with this ID, nil if there is none.
func (e *Ensemble) Self() *Server {
	for i := range e.Servers {
		if e.Servers[i].ID == e.ID {
			return &e.Servers[i]
		}
	}
	return nil
}

// Participants is the number of servers that vote.
func (e *Ensemble) Participants() int {
	n := 0
	for _, s := range e.Servers {
		if !s.Observer {
			n++
		}
	}
	return n
}

// Distributed reports whether ZooKeeper would start a member of an ensemble, and not
// a server that is one by itself.
func (e *Ensemble) Distributed() bool {
	n := e.Participants()
	return n > 0 && (!e.Standalone || n > 1)
}

func (e *Ensemble) check() error {
	n := e.Participants()
	observers := len(e.Servers) - n
	switch {
	case n == 0 && !e.Standalone:
		return errors.New("standaloneEnabled = false then number of participants should be >0")
	case n == 0 && observers > 0:
		return errors.New("Observers w/o participants is an invalid configuration") //nolint:staticcheck // ZooKeeper's words
	case n == 1 && e.Standalone && observers > 0:
		return errors.New("Observers w/o quorum is an invalid configuration") //nolint:staticcheck // ZooKeeper's words
	}
	return nil
}

// readID reads the file myid, which a server by itself need not have. Like ZooKeeper, it
// passes over whatever is no file that can be seen: a dataDir that is of no use is told of
// by who opens it.
func (c *Config) readID() error {
	path := filepath.Join(c.DataDir, "myid")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // as if there were none
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	lines := bufio.NewScanner(f)
	lines.Scan()
	if err := lines.Err(); err != nil {
		return fmt.Errorf("myid: %w", err)
	}
	id, err := strconv.ParseInt(lines.Text(), 10, 64)
	if err != nil {
		return fmt.Errorf("serverid %s is not a number", lines.Text())
	}
	c.Ensemble.ID = id
	return nil
}

// takeClientAddress takes the address that this server's line has for clients. The
// file must not contradict it.
func (c *Config) takeClientAddress() error {
	for _, s := range c.Ensemble.Servers {
		if s.ID != c.Ensemble.ID || !s.Client.Given {
			continue
		}
		everywhere := c.Client.Host == "" || c.Client.Host == "0.0.0.0" || c.Client.Host == "::"
		if c.Client.Given && (c.Client.Port != s.Client.Port || (!everywhere && c.Client.Host != s.Client.Host)) {
			return fmt.Errorf("client address for this server (id = %d) in static config file is %s:%d is different from client address found in dynamic file: %s:%d",
				s.ID, c.Client.Host, c.Client.Port, s.Client.Host, s.Client.Port)
		}
		c.Client = s.Client
	}
	return nil
}

const wrongForm = " does not have the form server_config or server_config;client_config" +
	" where server_config is the pipe separated list of host:port:port or host:port:port:type" +
	" and client_config is port or host:port"

// parseServer reads server.ID=host:port:port[:type][|…][;[host:]port].
func parseServer(key, id, text string) (Server, error) {
	s := Server{Text: text}
	var err error
	if s.ID, err = parseInt(key, id, 64); err != nil {
		return s, err
	}
	servers, client, hasClient := strings.Cut(text, ";")
	if strings.Contains(client, ";") {
		return s, errors.New(text + wrongForm)
	}
	if hasClient {
		parts, err := splitHostPort(client)
		if err != nil {
			return s, err
		}
		if len(parts) > 2 {
			return s, errors.New(text + wrongForm)
		}
		port, err := strconv.ParseUint(parts[len(parts)-1], 10, 16)
		if err != nil {
			return s, fmt.Errorf("Address unresolved: %s", client)
		}
		s.Client = Address{Host: "0.0.0.0", Port: int(port), Given: true}
		if len(parts) == 2 {
			s.Client.Host = parts[0]
		}
	}
	var lines []string
	for i, one := range strings.Split(servers, "|") {
		address, election, isObserver, err := parseServerAddress(s.ID, text, one)
		if err != nil {
			return s, err
		}
		s.Addresses = append(s.Addresses, address)
		s.Elections = append(s.Elections, Address{Host: address.Host, Port: election, Given: true})
		lines = append(lines, fmt.Sprintf("%s:%d", address, election))
		if i > 0 && isObserver != s.Observer {
			return s, errors.New("Multiple addresses should have similar roles") //nolint:staticcheck // ZooKeeper's words
		}
		s.Observer = isObserver
	}
	s.setLine(lines)
	return s, nil
}

// ParseServer reads what is behind server.ID= in a zoo.cfg.
func ParseServer(id int64, text string) (Server, error) {
	number := strconv.FormatInt(id, 10)
	return parseServer("server."+number, number, text)
}

// All are all addresses of a server: for others, for elections and for clients.
func (s *Server) All() []Address {
	all := slices.Concat(s.Addresses, s.Elections)
	if s.Client.Given {
		all = append(all, s.Client)
	}
	return all
}

// setLine writes the line as QuorumServer.toString does, of the addresses with both ports.
func (s *Server) setLine(addresses []string) {
	slices.Sort(addresses) // by host
	role := ":participant"
	if s.Observer {
		role = ":observer"
	}
	s.Line = fmt.Sprintf("server.%d=%s%s", s.ID, strings.Join(addresses, "|"), role)
	if s.Client.Given {
		s.Line += ";" + s.Client.String()
	}
}

func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

func parseServerAddress(id int64, whole, text string) (a Address, election int, isObserver bool, err error) {
	parts, err := splitHostPort(text)
	if err != nil {
		return a, 0, false, err
	}
	if len(parts) < 3 || len(parts) > 4 {
		return a, 0, false, errors.New(whole + wrongForm)
	}
	var ports [2]uint64
	for i := range ports {
		if ports[i], err = strconv.ParseUint(parts[i+1], 10, 16); err != nil {
			return a, 0, false, fmt.Errorf("Address unresolved: %s:%s", parts[0], parts[i+1])
		}
	}
	if ports[0] == ports[1] {
		return a, 0, false, fmt.Errorf("Client and election port must be different! Please update the configuration file on server.%d", id) //nolint:staticcheck // ZooKeeper's words
	}
	if len(parts) == 4 {
		isObserver, err = observer(parts[3])
	}
	return Address{Host: parts[0], Port: int(ports[0]), Given: true}, int(ports[1]), isObserver, err
}

// splitHostPort divides at colons, but not within [ ] (ConfigUtils.getHostAndPort).
func splitHostPort(s string) ([]string, error) {
	rest, ok := strings.CutPrefix(s, "[")
	if !ok {
		return strings.Split(s, ":"), nil
	}
	host, rest, ok := strings.Cut(rest, "]")
	switch {
	case !ok:
		return nil, fmt.Errorf("%s starts with '[' but has no matching ']:'", s)
	case rest == ":":
		return nil, fmt.Errorf("%s doesn't have a port after colon", s)
	case rest == "":
		return []string{host}, nil
	}
	return append([]string{host}, strings.Split(rest[1:], ":")...), nil
}

// noteEnsemble says what ZooKeeper says of a file that names one server.
func (c *Config) noteEnsemble() {
	if e := &c.Ensemble; e.Standalone && e.Participants() == 1 {
		c.note(slog.LevelWarn, "Invalid configuration, only one server specified (ignoring)", "server", e.Servers[0].ID)
	}
}

// noteServers says what ZooKeeper says of an ensemble.
func (c *Config) noteServers() {
	e := &c.Ensemble
	switch n := e.Participants(); {
	case n == 2:
		c.note(slog.LevelWarn, "No server failure will be tolerated. You need at least 3 servers.")
	case n%2 == 0:
		c.note(slog.LevelWarn, "Non-optimal configuration, consider an odd number of servers.")
	}
	self := e.Self()
	if self == nil || self.Observer == e.observer {
		return
	}
	kind := func(observer bool) string {
		if observer {
			return "OBSERVER"
		}
		return "PARTICIPANT"
	}
	c.note(slog.LevelWarn, fmt.Sprintf("Peer type from servers list (%s) doesn't match peerType (%s). Defaulting to servers list.",
		kind(self.Observer), kind(e.observer)))
}
