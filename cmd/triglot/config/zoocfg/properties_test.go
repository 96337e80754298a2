package zoocfg

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What java.util.Properties.load of OpenJDK 17 makes of each text.
func TestPropertiesAsJavaReadsThem(t *testing.T) {
	tests := []struct {
		text string
		want []Property
		err  string
	}{
		{"", nil, ""},
		{"a=b", []Property{{"a", "b"}}, ""},
		{"a = b \n", []Property{{"a", "b "}}, ""},
		{"a:b\nc d\ne\t=\tf\ng : = h", []Property{{"a", "b"}, {"c", "d"}, {"e", "f"}, {"g", "= h"}}, ""},
		{"a", []Property{{"a", ""}}, ""},
		{"=b", []Property{{"", "b"}}, ""},
		{"# a=b\n ! c=d\n\f\n\te=f", []Property{{"e", "f"}}, ""},
		{"a=b#c", []Property{{"a", "b#c"}}, ""},
		{"a=1\ra=2\r\na=3", []Property{{"a", "1"}, {"a", "2"}, {"a", "3"}}, ""},
		// Lines that go on.
		{"a=b,\\\n   c", []Property{{"a", "b,c"}}, ""},
		{"a=b\\\r\n c", []Property{{"a", "bc"}}, ""},
		{"a=b\\\n\nc=d", []Property{{"a", "b"}, {"c", "d"}}, ""},
		{"a=b\\\n#c", []Property{{"a", "b#c"}}, ""},
		{"a=b\\\\\nc=d", []Property{{"a", "b\\"}, {"c", "d"}}, ""},
		{"# a\\\nb=c", []Property{{"b", "c"}}, ""},
		{"\\\n#a\nb=c", []Property{{"b", "c"}}, ""},
		{"\\", []Property{{"", ""}}, ""},
		{"a=b\n\\\n", []Property{{"a", "b"}, {"", ""}}, ""},
		{"\\\n!", nil, ""},
		// Escapes.
		{`a\=b=c`, []Property{{"a=b", "c"}}, ""},
		{`a\ b c`, []Property{{"a b", "c"}}, ""},
		{`dataDir=C:\zk\ndata`, []Property{{"dataDir", "C:zk\ndata"}}, ""},
		{`a=\t\r\n\f\q`, []Property{{"a", "\t\r\n\fq"}}, ""},
		{`a=\u0041\u00e9\uD83D\uDE00`, []Property{{"a", "Aé😀"}}, ""},
		{"a=\xe9", []Property{{"a", "é"}}, ""},
		{`a=\u12`, nil, `Malformed \uxxxx encoding.`},
		{`a=\u12g4`, nil, `Malformed \uxxxx encoding.`},
	}
	for _, test := range tests {
		got, err := parseProperties([]byte(test.text))
		if test.err != "" {
			require.EqualError(t, err, test.err, "%q", test.text)
			continue
		}
		require.NoError(t, err, "%q", test.text)
		require.Equal(t, test.want, got, "%q", test.text)
	}
}

func TestSecretsAreLeftOutOfTheText(t *testing.T) {
	text := "# where\ndataDir=/d\n# the store\nssl.keyStore.password = hidden\n" +
		" #ssl.keyStore.passwordPath=hidden\n!superDigest=hidden\n\\u0070assword=hidden\n" +
		"#password=hidden\n#clients\n" +
		"DigestAuthenticationProvider.superDigest=super:hid\\\n  den\nclientPort=2181"
	require.Equal(t, "# where\ndataDir=/d\nssl.keyStore.password=***\n\\u0070assword=***\nDigestAuthenticationProvider.superDigest=***\nclientPort=2181", withoutSecrets([]byte(text)))
}

func FuzzProperties(f *testing.F) {
	for _, seed := range []string{"a=b", "a\\\n b:c", "\\u0041 \\", "#\r!\n=", "server.1=[::1]:2888:3888;2181"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseProperties(text)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
		}
		require.LessOrEqual(t, len(list), len(text)+1)
		require.LessOrEqual(t, len(withoutSecrets(text)), len(text)+4*(len(list)+1)+4)
	})
}
