package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// gates is a value of --feature-gates: those that differ from etcd's default.
type gates map[string]bool

// knownGates are etcd 3.7's feature gates and their defaults.
var knownGates = map[string]bool{
	"AllAlpha":                     false,
	"AllBeta":                      false,
	"StopGRPCServiceOnDefrag":      false,
	"TxnModeWriteWithSharedBuffer": true,
	"InitialCorruptCheck":          false,
	"CompactHashCheck":             false,
	"LeaseCheckpoint":              false,
	"LeaseCheckpointPersist":       false,
	"SetMemberLocalAddr":           false,
	"FastLeaseKeepAlive":           true,
	"PriorityRequest":              false,
}

func parseGates(text string) (gates, error) {
	g := gates{}
	for _, item := range splitList(text) {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not of the form Gate=true", item)
		}
		on, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", value)
		}
		usual, known := knownGates[name]
		if !known {
			return nil, fmt.Errorf("unrecognized feature gate: %s%s", name,
				DidYouMean(name, slices.Collect(maps.Keys(knownGates)), ""))
		}
		if on != usual {
			g[name] = on
		}
	}
	return g, nil
}

func (g gates) String() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		list = append(list, name+"="+strconv.FormatBool(g[name]))
	}
	return strings.Join(list, ",")
}
