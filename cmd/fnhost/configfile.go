package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/pflag"

	"github.com/fnhost/fnhost/builder/nearest"
)

// configFile is looked for in the working directory.
const configFile = "fnhost.yaml"

// serversKey is the one key of the file that is no flag.
const serversKey = "servers"

// maxConfigSize bounds the file, in bytes.
const maxConfigSize = 64 << 10

// setting is a value of the file, or several, and where it stands.
type setting struct {
	texts    []string
	position string
}

// read parses the settings file: a mapping of flag names to values. Unknown keys,
// and values that do not fit their flags, are errors.
func (s *settings) read(known map[string]*pflag.Flag) (map[string]setting, error) {
	named := s.file != ""
	if !named {
		s.file = configFile
	}
	data, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		s.file = ""
		return nil, nil
	case err != nil:
		return nil, usagef("settings file: %w", err)
	case len(data) > maxConfigSize:
		return nil, usagef("%s has more than %d KiB: it is no settings file", s.file, maxConfigSize>>10)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, usagef("%s", s.syntaxError(err))
	}
	values := make(map[string]setting)
	for _, doc := range file.Docs {
		if err := s.readDocument(doc.Body, known, values); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// syntaxError is a parser's error in the form of the others, without its excerpt.
func (s *settings) syntaxError(err error) string {
	var detail interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &detail) || detail.GetToken() == nil {
		return s.file + ": " + err.Error()
	}
	return s.at(detail.GetToken()) + ": " + strings.Join(strings.Fields(detail.GetMessage()), " ")
}

func (s *settings) at(t *token.Token) string {
	return fmt.Sprintf("%s:%d:%d", s.file, t.Position.Line, max(t.Position.Column, 1))
}

func (s *settings) readDocument(body ast.Node, known map[string]*pflag.Flag, values map[string]setting) error {
	if body == nil {
		return nil
	}
	if body.Type() == ast.CommentType || body.Type() == ast.NullType {
		return nil
	}
	root, ok := body.(ast.MapNode)
	if !ok {
		return usagef("%s: want lines of the form `flag: value`", s.at(body.GetToken()))
	}
	for pairs := root.MapRange(); pairs.Next(); {
		key := pairs.Key().GetToken()
		if key.Value == serversKey {
			if err := s.readServers(pairs.Value()); err != nil {
				return err
			}
			continue
		}
		flag := known[key.Value]
		if flag == nil {
			return usagef("%s: unknown setting %q%s", s.at(key), key.Value, nearest.DidYouMean(key.Value, append(sortedKeys(known), serversKey)))
		}
		v := setting{position: s.at(key)}
		if v.texts, ok = scalars(pairs.Value()); !ok {
			return usagef("%s: %s: want a plain value", v.position, key.Value)
		}
		if pathFlags[key.Value] {
			for i := range v.texts {
				v.texts[i] = s.fromFile(v.texts[i])
			}
		}
		values[key.Value] = v
	}
	return nil
}

// scalars returns a plain value, or a list of them.
func scalars(n ast.Node) ([]string, bool) {
	if list, ok := n.(*ast.SequenceNode); ok {
		var texts []string
		for _, item := range list.Values {
			if _, ok := item.(ast.ScalarNode); !ok {
				return nil, false
			}
			texts = append(texts, item.GetToken().Value)
		}
		return texts, len(texts) > 0
	}
	if _, ok := n.(ast.ScalarNode); !ok || n.Type() == ast.NullType {
		return nil, false
	}
	return []string{n.GetToken().Value}, true
}

func (s *settings) readServers(n ast.Node) error {
	list, ok := n.(ast.MapNode)
	if !ok {
		return usagef("%s: %s: want lines of the form `name: URL`", s.at(n.GetToken()), serversKey)
	}
	s.servers = make(map[string]string)
	for pairs := list.MapRange(); pairs.Next(); {
		texts, ok := scalars(pairs.Value())
		if !ok || len(texts) != 1 {
			return usagef("%s: want `name: URL`", s.at(pairs.Key().GetToken()))
		}
		s.servers[pairs.Key().GetToken().Value] = texts[0]
	}
	return nil
}
