package zkoracle

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The keys of mntr that monitoring needs (ZooKeeper's own alert rules and
// dashboards); the real one has some hundred more.
var mntrKeys = []string{
	"zk_version", "zk_server_state", "zk_avg_latency", "zk_max_latency", "zk_min_latency", "zk_packets_received", "zk_packets_sent",
	"zk_num_alive_connections", "zk_outstanding_requests", "zk_uptime", "zk_znode_count", "zk_watch_count", "zk_ephemerals_count",
	"zk_approximate_data_size", "zk_open_file_descriptor_count", "zk_max_file_descriptor_count", "zk_global_sessions", "zk_local_sessions",
}

// The keys of envi that clients read (kazoo, T/test/FourLetterWordsTest); the others
// are Java's.
var enviKeys = []string{"zookeeper.version", "host.name", "java.version", "os.name", "os.arch", "os.version", "user.name", "user.home", "user.dir"}

// word asks a four-letter word and shows the shape of the answer: what it says of
// itself, not the numbers.
func (s *side) word(word string) []string {
	asked := word
	if word == "datasize" {
		asked = "mntr"
	}
	answer, err := ask(s.endpoint, asked)
	for end := time.Now().Add(patience); err == nil && s.countsTheClosed(answer) && time.Now().Before(end); {
		answer, err = ask(s.endpoint, asked)
	}
	if err != nil {
		return []string{"FAILED: " + err.Error()}
	}
	switch strings.TrimSpace(word) {
	case "srvr", "stat":
		return shape(answer, ": ", "Mode", "Node count")
	case "mntr":
		keys := shape(answer, "\t", "zk_znode_count", "zk_ephemerals_count", "zk_watch_count", "zk_global_sessions")
		slices.Sort(keys) // ZooKeeper's order is none
		return slices.DeleteFunc(keys, func(line string) bool {
			key, _, _ := strings.Cut(line, "\t")
			return !slices.Contains(mntrKeys, key)
		})
	case "datasize":
		return slices.DeleteFunc(strings.Split(answer, "\n"), func(line string) bool { return !strings.HasPrefix(line, "zk_approximate_data_size") })
	case "conf":
		keys := shape(answer, "=", "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout")
		slices.Sort(keys)
		return keys
	case "envi":
		return slices.DeleteFunc(shape(answer, "="), func(line string) bool {
			key, _, found := strings.Cut(line, "=")
			return found && !slices.Contains(enviKeys, key)
		})
	default:
		return []string{fmt.Sprintf("%q", answer)}
	}
}

var aliveLine = regexp.MustCompile(`(?m)^zk_num_alive_connections\t(\d+)$`)

// countsTheClosed says that an answer to mntr is of before the server has forgotten a
// connection that was closed. Neither server does so before it answers, and both drop its
// watches right behind.
func (s *side) countsTheClosed(answer string) bool {
	found := aliveLine.FindStringSubmatch(answer)
	if found == nil {
		return false
	}
	alive, err := strconv.Atoi(found[1])
	open := 1 // that of the word itself
	for _, c := range s.conns {
		if c.net != nil {
			open++
		}
	}
	return err == nil && alive > open
}

// shape shows each line's key, and its value if it is one of those named. A line
// without a key is shown as it is, one of a client by its form.
func shape(answer, separator string, whole ...string) []string {
	var lines []string
	for line := range strings.Lines(answer) {
		line = strings.TrimSuffix(line, "\n")
		key, _, found := strings.Cut(line, separator)
		switch {
		case strings.HasPrefix(line, " /"):
			line = " /ip:port..."
		case found && !slices.Contains(whole, key):
			line = key + separator + "..."
		}
		if line == "" {
			line = "(empty line)"
		}
		lines = append(lines, line)
	}
	return lines
}

func ask(endpoint, word string) (string, error) {
	conn, err := net.DialTimeout("tcp", endpoint, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}
