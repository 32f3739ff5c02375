#!/usr/bin/env escript
%% basho.escript - Riak's Bitcask itself, for test/cli/import_basho.sh and for test/compat/basho.
%%
%%   make DIR SEED KEYS OPERATIONS MAX_FILE_SIZE   random puts, deletes and merges into a new directory
%%   old DIR                                       what releases before 2.0 left, and a merge of part of it by this one
%%   fold DIR [EXPIRY_SECS]                        what it has: hex key TAB hex value, sorted

main(["make", Dir, Seed, Keys, Operations, Max]) ->
    [S, K, N, M] = [list_to_integer(Text) || Text <- [Seed, Keys, Operations, Max]],
    rand:seed(exsss, S),
    lists:foreach(fun(_) -> round(Dir, K, N div 4, M) end, lists:seq(1, 4));
main(["old", Dir]) ->
    old(Dir);
main(["fold", Dir]) ->
    fold(Dir, []);
main(["fold", Dir, Secs]) ->
    fold(Dir, [{expiry_secs, list_to_integer(Secs)}]).

%% The files that the last merge took stay, marked for deletion.
round(Dir, Keys, Operations, Max) ->
    Ref = bitcask:open(Dir, [read_write, {max_file_size, Max}]),
    true = is_reference(Ref),
    lists:foreach(fun(_) -> operation(Ref, Keys) end, lists:seq(1, Operations)),
    ok = bitcask:merge(Dir, []),
    lists:foreach(fun(_) -> operation(Ref, Keys) end, lists:seq(1, Operations div 4)),
    ok = bitcask:close(Ref).

%% Tombstones without a file's number. A merge of the file in the middle gives them one.
old(Dir) ->
    ok = file:make_dir(Dir),
    ok = write(Dir, 1, [record(100, K, <<"first">>) || K <- [<<"a">>, <<"b">>, <<"c">>]]),
    ok = write(Dir, 9, [record(200, K, <<"bitcask_tombstone">>) || K <- [<<"a">>, <<"b">>]]),
    ok = write(Dir, 10, [record(300, K, <<"second">>) || K <- [<<"b">>, <<"d">>]]),
    Ref = bitcask:open(Dir, [read_write]),
    true = is_reference(Ref),
    ok = bitcask:merge(Dir, [], [filename:join(Dir, "9.bitcask.data")]),
    ok = bitcask:close(Ref).

record(Time, K, V) ->
    Body = <<Time:32, (size(K)):16, (size(V)):32, K/binary, V/binary>>,
    <<(erlang:crc32(Body)):32, Body/binary>>.

write(Dir, Id, Records) ->
    file:write_file(filename:join(Dir, integer_to_list(Id) ++ ".bitcask.data"), Records).

operation(Ref, Keys) ->
    K = key(rand:uniform(Keys)),
    ok = case rand:uniform(10) of
             N when N =< 6 -> bitcask:put(Ref, K, rand:bytes(rand:uniform(60)));
             7 -> bitcask:put(Ref, K, <<>>);
             8 -> bitcask:put(Ref, K, rand:bytes(500 + rand:uniform(3000)));
             _ -> bitcask:delete(Ref, K)
         end.

%% Binary keys of many lengths, with zeros and newlines in them.
key(1) -> <<0>>;
key(2) -> binary:copy(<<"long">>, 1000);
key(N) -> <<N:32, 0, 255, 10, 13, (binary:copy(<<"k">>, N rem 20))/binary>>.

fold(Dir, Options) ->
    Ref = bitcask:open(Dir, Options),
    true = is_reference(Ref),
    All = bitcask:fold(Ref, fun(K, V, Acc) -> [[hex(K), $\t, hex(V), $\n] | Acc] end, []),
    io:put_chars(lists:sort(All)),
    bitcask:close(Ref).

hex(Bytes) -> [io_lib:format("~2.16.0b", [B]) || <<B>> <= Bytes].
