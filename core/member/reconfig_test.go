package member

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// cluster reads members: a letter for each, its place being its id. V is a voter that
// started and has been connected for long, v one that was connected a moment ago, d one
// that started and is down, n one that never started; L is a learner. Member 1 judges.
func cluster(text string) ([]core.Member, *Links) {
	now := time.Unix(1000, 0)
	l := &Links{Self: 1, Since: map[core.MemberID]time.Time{}, Now: now}
	var members []core.Member
	for i, letter := range strings.Split(text, "") {
		m := core.Member{ID: core.MemberID(i + 1), Name: fmt.Sprint(i), Learner: letter == "L"}
		switch letter {
		case "V", "L":
			l.Since[m.ID] = now.Add(-time.Minute)
		case "v":
			l.Since[m.ID] = now.Add(-HealthInterval)
		case "n":
			m.Name = ""
		}
		members = append(members, m)
	}
	return members, l
}

// TestMayAdd and the next two are T-101.
func TestMayAdd(t *testing.T) {
	for text, want := range map[string][2]error{ // a voter, a learner
		"V":     {nil, nil},
		"n":     {core.NotEnoughStarted, nil}, // before it has introduced itself
		"VV":    {nil, nil},
		"Vd":    {core.Unhealthy, core.Unhealthy},
		"Vn":    {core.NotEnoughStarted, core.Unhealthy},
		"VVV":   {nil, nil},
		"Vvv":   {core.Unhealthy, core.Unhealthy},
		"VVd":   {core.Unhealthy, core.Unhealthy},
		"VVn":   {core.NotEnoughStarted, core.Unhealthy},
		"VVVn":  {nil, nil},
		"VVVVd": {nil, nil},
		"VVVdd": {core.Unhealthy, core.Unhealthy},
		"VLLL":  {nil, nil},
	} {
		members, l := cluster(text)
		require.Equal(t, want[0], MayAdd(members, false, l), "a voter to %s", text)
		require.Equal(t, want[1], MayAdd(members, true, l), "a learner to %s", text)
	}
}

func TestMayRemove(t *testing.T) {
	for _, c := range []struct {
		members string
		id      core.MemberID
		want    error
	}{
		{"V", 1, core.NotEnoughStarted},
		{"V", 9, nil}, // which is refused by the state
		{"VL", 2, nil},
		{"VV", 2, nil},
		{"VV", 1, nil},
		{"Vd", 2, nil},
		{"Vd", 1, core.Unhealthy},
		{"Vn", 2, nil},
		{"Vn", 1, core.NotEnoughStarted},
		{"VVV", 3, nil},
		{"VVd", 3, nil},
		{"VVd", 2, core.Unhealthy},
		{"VVd", 1, core.Unhealthy},
		{"Vvv", 2, core.Unhealthy},
		{"VVVdd", 5, nil},
		{"VVVdd", 3, core.Unhealthy},
	} {
		members, l := cluster(c.members)
		require.Equal(t, c.want, MayRemove(members, c.id, l), "%d of %s", c.id, c.members)
	}
}

func TestMayPromote(t *testing.T) {
	for text, want := range map[string]error{
		"VL": nil, "VVL": nil, "VnL": nil, "VnnL": core.NotEnoughStarted, "VVnL": nil, "nL": core.NotEnoughStarted,
	} {
		members, _ := cluster(text)
		require.Equal(t, want, MayPromote(members), text)
	}
}

func TestAddedID(t *testing.T) {
	at := time.Unix(1700000000, 5)
	require.Equal(t, AddedID([]string{"http://b:1", "http://a:1"}, at), AddedID([]string{"http://a:1", "http://b:1"}, at))
	require.NotEqual(t, AddedID([]string{"http://a:1"}, at), AddedID([]string{"http://a:1"}, at.Add(time.Second)))
	require.NotEqual(t, ID([]string{"http://a:1"}, ""), AddedID([]string{"http://a:1"}, at))
}
