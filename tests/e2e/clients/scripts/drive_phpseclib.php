<?php
// Drives phpseclib 3 (WordPress plugins, Laravel's and TYPO3's file systems): port user key known_hosts local back.
// Prints one line for each step that it has seen to be right.
declare(strict_types=1);

require 'phpseclib3/autoload.php';

use phpseclib3\Crypt\PublicKeyLoader;
use phpseclib3\Net\SFTP;

[, $port, $user, $key, $knownHosts, $local, $back] = $argv;

function must(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}

function upload(SFTP $sftp, string $from, string $to): void
{
    must($sftp->mkdir($to), "mkdir $to");
    foreach (array_diff(scandir($from), ['.', '..']) as $name) {
        $here = "$from/$name";
        if (is_dir($here)) {
            upload($sftp, $here, "$to/$name");
        } else {
            must($sftp->put("$to/$name", $here, SFTP::SOURCE_LOCAL_FILE), "put $name");
        }
    }
}

function download(SFTP $sftp, string $from, string $to): void
{
    mkdir($to);
    foreach (array_diff($sftp->nlist($from), ['.', '..']) as $name) {
        if ($sftp->is_dir("$from/$name")) {
            download($sftp, "$from/$name", "$to/$name");
        } else {
            must($sftp->get("$from/$name", "$to/$name") !== false, "get $name");
        }
    }
}

$sftp = new SFTP('127.0.0.1', (int) $port);
$known = preg_split('/\s+/', trim(file_get_contents($knownHosts)));
must($sftp->getServerPublicHostKey() === "$known[1] $known[2]", 'another host key: ' . $sftp->getServerPublicHostKey());
must($sftp->login($user, PublicKeyLoader::load(file_get_contents($key))), 'login');
must($sftp->pwd() === '/', 'pwd: ' . $sftp->pwd());
upload($sftp, $local, '/tree');
echo "mkdir and put of a tree\n";
download($sftp, '/tree', $back);
echo "nlist and get of a tree\n";

$big = file_get_contents("$local/big");
must($sftp->put('/resumed', substr($big, 0, 5000001)), 'the first part');
$from = $sftp->filesize('/resumed');
must($sftp->put('/resumed', "$local/big", SFTP::SOURCE_LOCAL_FILE, $from, $from), 'the rest');
must(hash('sha256', $sftp->get('/resumed')) === hash('sha256', $big), 'it is another');
must($sftp->get('/resumed', false, 1000000, 300000) === substr($big, 1000000, 300000), 'a part of it');
echo "put from where a part ends, get of a part\n";

must($sftp->rename('/resumed', '/moved') && !$sftp->file_exists('/resumed'), 'rename');
must($sftp->chmod(0600, '/moved') !== false && ($sftp->fileperms('/moved') & 0777) === 0600, 'chmod');
must($sftp->touch('/moved', 981173106, 981173106) && $sftp->filemtime('/moved') === 981173106, 'touch');
// Its arguments stand the other way round for a server that does not call itself OpenSSH.
must($sftp->symlink('moved', '/soft') && $sftp->readlink('/soft') === 'moved', 'symlink');
must($sftp->delete('/soft', false), 'delete of a link');
must($sftp->truncate('/moved', 1000) && $sftp->filesize('/moved') === 1000, 'truncate');
must(!$sftp->file_exists('/nothing') && $sftp->get('/nothing') === false, 'what is not there');
must(isset($sftp->rawlist('/tree')['run.sh']['mode']), 'rawlist');
must($sftp->chdir('/tree') && $sftp->pwd() === '/tree' && $sftp->chdir('/'), 'chdir');
must($sftp->mkdir('/a/b/c', -1, true) && $sftp->delete('/a', true), 'mkdir -p and delete of a tree');
must($sftp->delete('/moved'), 'delete');
echo "rename, chmod, touch, symlink, truncate, rawlist, chdir, mkdir -p, delete\n";
