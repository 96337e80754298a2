package zkoracle

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

// place is where a server of an ensemble is: its number, and its ports. Scripts know it by
// what it was at the beginning: L leads, F follows and is the one whose the clients are, O
// is another follower; N and M are newcomers, of which no server runs. In a command $F is
// its number, and $PF, $EF and $CF are its ports for peers, elections and clients; whatever
// is shown has them in turn.
type place struct {
	role string
	zkserver.Place
}

// newcomers are the roles of places where no server runs.
var newcomers = []string{"N", "M"}

// names are pairs of what stands for a number of the place, and that number; the shorter
// ones come last.
func (p *place) names() (pairs [][2]string) {
	for name, n := range map[string]int{"$P": p.Peer, "$E": p.Election, "$C": p.Client, "$": p.ID} {
		pairs = append(pairs, [2]string{name + p.role, strconv.Itoa(n)})
	}
	return pairs
}

// settlePlaces gives the places of an ensemble their roles.
func (s *side) settlePlaces(e *ensemble) error {
	s.places = make([]place, len(e.places))
	leader := e.mode("leader")
	for i, m := range e.members {
		p := &s.places[i]
		p.Place = e.places[i]
		switch {
		case m == leader:
			p.role = "L"
		case m == e.at:
			p.role = "F"
		default:
			p.role = "O"
		}
	}
	for _, role := range newcomers {
		p, err := zkserver.FindPlace(len(s.places) + 1)
		if err != nil {
			return err
		}
		s.places = append(s.places, place{role, p})
	}
	return nil
}

// expand puts the places' numbers into a command.
func (s *side) expand(line string) string {
	for i := range s.places {
		for _, pair := range s.places[i].names() {
			line = strings.ReplaceAll(line, pair[0], pair[1])
		}
	}
	return line
}

// serverLine is a line of /zookeeper/config.
var serverLine = regexp.MustCompile(`^server\.(\d+)=(.*)$`)

// showConfig shows /zookeeper/config line by line, sorted by role, and what is wrong with
// the order, the length and the time: the stat's are those of the text.
func showConfig(s *side, r *reader) string {
	text, v := string(r.buffer()), r.stat()
	if r.err != nil {
		return ""
	}
	wrong := ""
	if int(v.dataLength) != len(text) {
		wrong = fmt.Sprintf(" LENGTH %d, NOT %d", v.dataLength, len(text))
	}
	v.dataLength = 0
	var lines []string
	last := 0
	for _, line := range strings.Split(text, "\n") {
		version, isVersion := strings.CutPrefix(line, "version=")
		if m := serverLine.FindStringSubmatch(line); m != nil {
			id, err := strconv.Atoi(m[1])
			if err != nil || id <= last {
				wrong += " OUT OF ORDER"
			}
			last = id
			lines = append(lines, s.showServer(id, m[2]))
			continue
		}
		if n, err := strconv.ParseInt(version, 16, 64); isVersion && err == nil {
			line = "version=" + s.clock.exact(n)
		}
		lines = append(lines, strconv.Quote(line))
	}
	if len(lines) > 0 {
		slices.Sort(lines[:len(lines)-1])
	}
	return strings.Join(append(lines, s.stat(v)+wrong), " | ")
}

// showServer shows a server by its role, with its ports.
func (s *side) showServer(id int, text string) string {
	name := strconv.Itoa(id)
	for i := range s.places {
		p := &s.places[i]
		if p.ID == id {
			name = p.role
		}
		for _, pair := range p.names() {
			if len(pair[1]) > 2 { // a port
				text = strings.ReplaceAll(text, pair[1], pair[0])
			}
		}
	}
	return name + "=" + strings.ReplaceAll(text, net.IPv4(127, 0, 0, 1).String(), "host")
}
