package member

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParseVersion has what a real etcd 3.7.3 takes for a version, and what not.
func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{
		"3.6": "3.6.0", "3.6.0": "3.6.0", "3.6.9": "3.6.0", "3.6.0-alpha.1": "3.6.0", "3.6.0-rc.0+x.y": "3.6.0", "03.06": "3.6.0",
		"": "", "x": "", "3": "", "3.6.0.1": "", "v3.6.0": "", "3.6.x": "", "3.6.0-a..b": "", "3.6.0+é": "", "99999999999999999999.1": "",
	} {
		v, ok := ParseVersion(text)
		require.Equal(t, want != "", ok, "%q", text)
		if ok {
			require.Equal(t, want, v.String(), "%q", text)
		}
	}
}
