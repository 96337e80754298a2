package node

import (
	"fmt"

	"github.com/triglot/triglot/core/state/znode"
)

// DefaultMount is where a cluster's znodes are unless it is founded with another
// mount.
const DefaultMount = "/zk"

// wholeMount is the mount under which every key is a znode: it has no prefix.
const wholeMount = "/"

// mountPrefix is the prefix of keys that a mount stands for.
func mountPrefix(mount string) (string, error) {
	if mount == wholeMount {
		return "", nil
	}
	if mount == "" {
		mount = DefaultMount
	}
	if _, err := znode.ParseMount(mount); err != nil {
		return "", fmt.Errorf("--zk-prefix %q is no path that a znode can have: give one that begins with a slash and does not end with one, "+
			"such as %s, or %s to make every key a znode", mount, DefaultMount, wholeMount)
	}
	return mount, nil
}

// Mount is the path below which keys are znodes, as Founding.Mount gives it. ok is
// false in a cluster that was founded before there were znodes: it has none, and
// can serve no ZooKeeper client.
func (n *Node) Mount() (mount string, ok bool) { return n.disk.mount() }

func (d *disk) mount() (string, bool) {
	prefix, ok := d.engine().machine.Mount()
	if ok && prefix == "" {
		prefix = wholeMount
	}
	return prefix, ok
}

// checkMount refuses to start with another mount than the cluster was founded
// with.
func (d *disk) checkMount(asked string) error {
	if asked == "" {
		return nil
	}
	switch mount, ok := d.mount(); {
	case !ok:
		return fmt.Errorf("--zk-prefix=%s is given, but the cluster in %s was founded before there were znodes and has none: "+
			"leave the flag out, or found a new cluster and copy the keys over", asked, d.dir.path)
	case mount != asked:
		return fmt.Errorf("--zk-prefix=%s is given, but the cluster in %s was founded with %s, which cannot be changed: "+
			"give that, or leave the flag out", asked, d.dir.path, mount)
	}
	return nil
}
