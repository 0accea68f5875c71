"""PersistentVolumes and their claims (`pkg/controller/volume/persistentvolume`).

    match.py   which volume suits a claim (pure)
    binder.py  binding, releasing, handing claims to provisioners
"""
