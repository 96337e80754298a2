package config

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Gates are etcd's feature gates, each with whether it is on. What is on and
// means nothing here is harmless.
type Gates map[string]bool

// gate is a feature gate of etcd 3.7.
type gate struct {
	name string
	on   bool // by default
	beta bool // else alpha
}

var knownGates = []gate{
	{name: "StopGRPCServiceOnDefrag"},
	{name: "InitialCorruptCheck"},
	{name: "CompactHashCheck"},
	{name: "TxnModeWriteWithSharedBuffer", on: true, beta: true},
	{name: "LeaseCheckpoint"},
	{name: "LeaseCheckpointPersist"},
	{name: "SetMemberLocalAddr"},
	{name: "FastLeaseKeepAlive", on: true, beta: true},
	{name: "PriorityRequest"},
}

// Gates that stand for all of a kind that are not given themselves.
const (
	allAlpha = "AllAlpha"
	allBeta  = "AllBeta"
)

func gateNames() []string {
	names := []string{allAlpha, allBeta}
	for _, g := range knownGates {
		names = append(names, g.name)
	}
	return names
}

// parseGates reads Gate=true,…: a later value of a gate wins.
func parseGates(text string) (Gates, error) {
	given := make(Gates)
	for item := range strings.SplitSeq(text, ",") {
		if item == "" {
			continue
		}
		name, value, ok := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok {
			return nil, fmt.Errorf("missing bool value for %s", name)
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("invalid value of %s=%s, err: %w", name, value, err)
		}
		if !slices.Contains(gateNames(), name) {
			return nil, fmt.Errorf("unrecognized feature gate: %s%s", name, DidYouMean(name, gateNames(), ""))
		}
		given[name] = on
	}
	return given.complete(), nil
}

// complete adds the gates that were not given.
func (g Gates) complete() Gates {
	all := make(Gates)
	for _, k := range knownGates {
		kind := allAlpha
		if k.beta {
			kind = allBeta
		}
		all[k.name] = k.on
		if on, given := g[kind]; given {
			all[k.name] = on
		}
		if on, given := g[k.name]; given {
			all[k.name] = on
		}
	}
	return all
}

// String is a list of the gates that differ from the default.
func (g Gates) String() string {
	var list []string
	for _, k := range knownGates {
		if on, ok := g[k.name]; ok && on != k.on {
			list = append(list, k.name+"="+strconv.FormatBool(on))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// takeFormerGates turns values of flags that have become gates into values of
// --feature-gates, which win over them.
func takeFormerGates(c *Config, all source) {
	const name = "feature-gates"
	var list []string
	known(c.Mode, func(o *option) {
		if g, ok := all[o.name]; ok && o.gate != "" {
			list = append(list, o.gate+"="+g.text)
			c.note(slog.LevelWarn, "an option has become a feature gate", "given", g.from, "name", name, "gate", o.gate)
		}
	})
	if len(list) == 0 {
		return
	}
	g, ok := all[name]
	if ok {
		list = append(list, g.text)
	} else {
		g.from = "--" + name
	}
	g.text = strings.Join(list, ",")
	all[name] = g
}

// checkGates says which gates are on, and refuses what etcd does.
func (c *Config) checkGates() error {
	checkpoint, persist := c.Gates["LeaseCheckpoint"], c.Gates["LeaseCheckpointPersist"]
	switch {
	case persist && !checkpoint:
		return fmt.Errorf("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")
	case checkpoint && !persist:
		c.note(slog.LevelWarn, "Detected that checkpointing is enabled without persistence. Consider enabling feature gate LeaseCheckpointPersist")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Gates)) {
		if why, moot := mootGates[name]; moot && c.Gates[name] {
			c.note(slog.LevelInfo, "a feature gate changes nothing", "gate", name, "why", why)
		}
	}
	return nil
}

// mootGates are off in etcd by default, and mean nothing here.
var mootGates = map[string]string{
	"SetMemberLocalAddr":      "the system chooses the address from which a peer is called",
	"StopGRPCServiceOnDefrag": "defragmentation stops no service",
	"PriorityRequest":         "requests are not refused for a backlog of applies",
}
