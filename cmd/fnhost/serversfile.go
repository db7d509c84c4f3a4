package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// server is a host that the user has given a name.
type server struct {
	URL   string     `json:"url"`
	Token string     `json:"token,omitempty"`
	CA    string     `json:"ca,omitempty"` // PEM file of certificates to trust
	Login *keptLogin `json:"login,omitempty"`

	name string // that the user has given it, "" for none
}

// servers is the user's file of hosts.
type servers struct {
	Current string            `json:"current,omitempty"` // the one that commands speak to
	Servers map[string]server `json:"servers"`
}

// serversFile is where the user's hosts are kept. It holds tokens, so that nobody
// else may read it.
func serversFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	return filepath.Join(dir, "fnhost", "servers.json"), nil
}

func loadServers() (*servers, error) {
	s := &servers{Servers: make(map[string]server)}
	path, err := serversFile()
	if err != nil {
		return s, nil // no home: no servers
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w: mend it, or move it away and name the hosts again by `fnhost server add`", path, err)
	}
	if s.Servers == nil {
		s.Servers = make(map[string]server)
	}
	for name, one := range s.Servers {
		one.name = name
		s.Servers[name] = one
	}
	return s, nil
}

// warnOfReaders says if others may read the file of the user's hosts: the next change of it ends that.
func (a *app) warnOfReaders(list *servers) {
	path, err := serversFile()
	if err != nil || a.warned {
		return
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return
	}
	for _, s := range list.Servers {
		if s.Token != "" || s.Login != nil {
			a.warned = true
			fmt.Fprintf(a.stderr, "%s %s has mode %04o, so that others may read the tokens in it: `chmod 600 %[2]s`, and consider whether somebody has\n",
				a.painter(a.stderr).paint(yellow, "warning:"), path, info.Mode().Perm())
			return
		}
	}
}

// changeServers changes the file of the user's hosts: one command at a time.
func changeServers(ctx context.Context, change func(*servers) error) error {
	unlock, err := lockServers(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	list, err := loadServers()
	if err == nil {
		err = change(list)
	}
	if err != nil {
		return err
	}
	return list.save()
}

// save writes the file; the caller has its lock.
func (s *servers) save() error {
	path, err := serversFile()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".servers-*") // mode 0600
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}
