package state

import (
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// The version of etcd that the store passes for, without a patch, as etcd keeps the
// versions of its clusters. It is a property of the state machine, not of the
// process: a store is downgraded from here.
const (
	etcdMajor = 3
	etcdMinor = 7
)

// clusterVersion is the version of etcd that the cluster passes for. What is being
// downgraded passes for its target at once: no rows of the store depend on it.
func clusterVersion(downgradeTo string) string {
	if downgradeTo != "" {
		return downgradeTo
	}
	return fmt.Sprintf("%d.%d.0", etcdMajor, etcdMinor)
}

// CheckDowngrade fails as a command that begins a downgrade would, in a state that is
// being downgraded to under, if to anything: with BadDowngradeTarget unless the target
// is one minor version below the cluster's, then with DowngradeUnderWay. The target
// has no patch, as in "3.6.0".
func CheckDowngrade(under, target string) error {
	minor := etcdMinor
	if under != "" {
		minor--
	}
	switch {
	case target != fmt.Sprintf("%d.%d.0", etcdMajor, minor-1):
		return core.BadDowngradeTarget
	case under != "":
		return core.DowngradeUnderWay
	}
	return nil
}

// setDowngrade begins a downgrade, or ends it if the target is empty.
func (m *Machine) setDowngrade(target string) error {
	if target == "" {
		if m.downgradeTo == "" {
			return core.NoDowngrade
		}
		m.downgradeTo = ""
		m.w.DeleteRow(row(keys.MetaDowngrade))
		return nil
	}
	if err := CheckDowngrade(m.downgradeTo, target); err != nil {
		return err
	}
	m.downgradeTo = target
	m.w.SetRow(row(keys.MetaDowngrade), []byte(target))
	return nil
}
