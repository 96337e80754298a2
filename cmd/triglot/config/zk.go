package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// off is the value of --zk-listen that serves no ZooKeeper client.
const off = "off"

// The bounds of --zk-tick. A session lives 2 to 20 ticks: shorter ones would
// expire at a pause of the disk, longer ones would keep locks for hours.
const (
	minTick = 100 * time.Millisecond
	maxTick = time.Minute
)

// takeMount notes the prefix if it was asked for: a cluster that has another is
// then refused, one that was founded with another by default is not.
func (c *Config) takeMount(all source) {
	if _, given := all["zk-prefix"]; given {
		c.ZooKeeper.Mount = c.ZooKeeper.prefix
	}
}

func (c *Config) checkZooKeeper() error {
	z := &c.ZooKeeper
	if z.listen != off {
		_, port, err := net.SplitHostPort(z.listen)
		if err != nil {
			return fmt.Errorf("--zk-listen %q is no host:port, such as 127.0.0.1:2181, and not off", z.listen)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("--zk-listen %q: port %q is not a number from 0 to 65535", z.listen, port)
		}
		z.Listen = z.listen
	}
	if z.Tick < minTick || z.Tick > maxTick {
		return fmt.Errorf("--zk-tick %v is out of range: it must be between %v and %v", z.Tick, minTick, maxTick)
	}
	if !strings.HasPrefix(z.prefix, "/") {
		return fmt.Errorf("--zk-prefix %q must begin with a slash, as in /zk; / makes every key below it a znode", z.prefix)
	}
	return nil
}
