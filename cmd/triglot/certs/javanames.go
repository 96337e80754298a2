package certs

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// versions are the versions and the cipher suites that Java's names stand for.
type versions struct {
	min, max uint16
	suites   []uint16 // nil is Go's choice
	ignored  []string // names without a meaning here
}

// javaVersions are those that are served. Older ones Java itself has switched off.
var javaVersions = map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}

// versions reads ssl.protocol, ssl.enabledProtocols and ssl.ciphersuites.
func (s *Stores) versions() (versions, error) {
	v := versions{min: tls.VersionTLS12, max: tls.VersionTLS13}
	property, names := s.property("enabledProtocols"), s.EnabledProtocols
	if names == "" {
		property, names = s.property("protocol"), s.Protocol
	}
	if names != "" {
		v.min, v.max = 0, 0
		for _, name := range splitNames(names) {
			version, ok := javaVersions[name]
			if !ok {
				v.ignored = append(v.ignored, name)
				continue
			}
			v.max = max(v.max, version)
			if v.min == 0 || version < v.min {
				v.min = version
			}
		}
		if v.max == 0 {
			return v, fmt.Errorf("%s=%s has no version of TLS that is served here: TLSv1.2 and TLSv1.3 are", property, names)
		}
	}
	if s.CipherSuites == "" {
		return v, nil
	}
	return v, v.restrict(s.CipherSuites)
}

func splitNames(names string) []string {
	var all []string
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// restrict takes cipher suites by Java's names. A version of TLS none of whose suites is
// named is not served, as with Java. Go has all suites of TLS 1.3 or none.
func (v *versions) restrict(names string) error {
	known := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	newest := false // one of TLS 1.3 is named
	for _, name := range splitNames(names) {
		i := slices.IndexFunc(known, func(s *tls.CipherSuite) bool {
			return s.Name == strings.Replace(name, "SSL_", "TLS_", 1)
		})
		switch {
		case i < 0:
			v.ignored = append(v.ignored, name)
		case slices.Equal(known[i].SupportedVersions, []uint16{tls.VersionTLS13}):
			newest = true
		default:
			v.suites = append(v.suites, known[i].ID)
		}
	}
	if !newest {
		v.max = min(v.max, tls.VersionTLS12)
	}
	if len(v.suites) == 0 {
		v.min = max(v.min, tls.VersionTLS13)
	}
	if v.min > v.max {
		return fmt.Errorf("ssl.ciphersuites=%s has no cipher suite that is known here and of a version that is served", names)
	}
	return nil
}
